"""Readers' words about findings, as they come: key objects through both doors for images, HL7 messages by their own."""
