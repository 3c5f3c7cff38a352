"""Which namespaces are watched and how: policies from files, Kubernetes and the API."""
