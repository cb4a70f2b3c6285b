"""The KV index, its feed, its sidecar and its answers, beside what they are compared with."""
