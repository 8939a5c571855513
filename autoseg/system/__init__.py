"""The machine: files that appear whole, processes, leases, progress, devices, memory."""
