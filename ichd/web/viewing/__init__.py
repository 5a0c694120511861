"""The slice viewer's server: which slices a stack has, and each once as numbers that a browser windows itself."""
