"""What every layer uses: errors, settings, processes, terminal output, pages."""
