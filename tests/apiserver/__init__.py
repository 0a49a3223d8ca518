"""The operator as a process against a real API server and real controllers; only the kubelet is played."""
