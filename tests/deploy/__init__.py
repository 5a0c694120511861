"""What ships in deploy/ is parsed and linted by the tools that read it in the end."""
