"""The page that says what a recipe did: facts gathered, charts and pictures drawn, one HTML file without a link."""
