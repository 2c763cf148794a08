"""Microsoft's Bicep compiler, if one is installed, kept running between calls."""
