"""Other packages: training loops that are watched, loggers that are told. Each is optional, and imported only when used."""
