"""What people look at; reads snapshots, decides nothing."""
