"""Pictures and pages: axes as SVG, slices of volumes, HTML templates and the style sheet."""
