"""`python -m ichd`: the same as `ichd`."""

from ichd.cli.main import main

if __name__ == "__main__":
    main()
