"""`rushhour check`: does every connection come back?"""
