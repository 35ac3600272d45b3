"""From the HTML of one page to its draft: text and media candidates in document order."""
