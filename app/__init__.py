"""The referrals service: customers invite friends to products and see what became of each invitation."""

from app.factory import create_app

__all__ = ["create_app"]
