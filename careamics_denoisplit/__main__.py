"""`python -m careamics_denoisplit` is `denoisplit`."""

from careamics_denoisplit.cli import main

if __name__ == "__main__":
    main()
