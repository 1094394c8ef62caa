"""`python -m understudy`: the command line without a script on the PATH."""

from understudy.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
