"""Programs as they are written for the official SDK: nothing here names perdure. Each prints what it finds as JSON."""
