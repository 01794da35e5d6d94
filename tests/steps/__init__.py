"""Given, when and then, by who acts: staging, the responder, the observer."""
