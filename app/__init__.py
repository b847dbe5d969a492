"""The referrals service: customers invite friends to products and see what came of it."""

from app.factory import create_app

__all__ = ["create_app"]
