"""What users go through, on a real cluster that KUBECONFIG names; which cluster that is, nothing here knows."""
