"""What operator, Job and pods say to each other; nothing else crosses those borders."""
