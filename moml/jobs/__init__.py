"""One run of any job: settings, folder, records, loading, sweeps."""
