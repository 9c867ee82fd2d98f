"""Previews of links: what a page on the web says about itself, fetched for whoever has seen a link.

``fetch`` goes out, through the egress guard only, and follows redirects; ``hosts`` says where to;
``page`` reads what came; ``previews`` keeps the results and lets nobody ask without measure.
"""
