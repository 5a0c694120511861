"""What all rooms may know: facts, decisions and errors. Standard library only; time arrives as an argument."""
