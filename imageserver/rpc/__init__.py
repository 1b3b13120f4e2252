"""The methods of the services: a request in, a call on a store, a response out."""
