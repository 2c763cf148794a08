"""Microsoft's Bicep compiler, where one is found, and kept running between calls."""
