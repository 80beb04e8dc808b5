"""The page for managers: static files in `web/`, served by the reader (docs/managers_page.md)."""
