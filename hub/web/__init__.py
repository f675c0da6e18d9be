"""HTTP as a shell around the hub's services: who may call what, messages in and out, and the office's pages."""
