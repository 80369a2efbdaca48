"""Media as callers send them: resolved, fetched, uploaded, cached, swept."""
