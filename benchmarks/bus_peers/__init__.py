"""The bus and its peers, each as a pair of ends that do the same work: readers in processes of their own, the same
handlers, the same codec."""
