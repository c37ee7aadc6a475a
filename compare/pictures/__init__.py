"""Pictures of what is compared, as SVG."""
