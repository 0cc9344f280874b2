"""Many independent jobs: run once each, kept by content, in this process, in many, or on a cluster."""
