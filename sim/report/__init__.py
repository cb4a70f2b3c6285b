"""What people see of a result directory: one HTML page that opens offline, and a console table."""
