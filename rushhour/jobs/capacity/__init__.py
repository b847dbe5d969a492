"""`rushhour capacity`: the highest rate of arrivals at which a release holds, and what gives first."""
