"""Studies as learning reads them: HU, ordered and upright, compressed losslessly, mapped into memory."""
