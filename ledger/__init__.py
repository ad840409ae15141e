"""Where events end up: one port, three implementations, and the HTTP service over the embedded one."""
