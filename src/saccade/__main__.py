"""`python -m saccade`: the same as the `saccade` command."""

from saccade.cli.main import main

if __name__ == "__main__":
    main()
