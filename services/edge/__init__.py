"""What every gRPC server here does the same way: settings, life cycle, errors, keys."""
