"""The HTTP API: a plain FastAPI application over virtual datasets, with no Ray in it.

`app.create_app` puts it together. Nothing is imported here: Ray Serve's proxies import `pacing`
and need nothing else.
"""
