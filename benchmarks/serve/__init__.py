"""The drop-in server: cached share, added latency, cursors, throughput, size."""
