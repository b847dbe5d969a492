"""Predicts pools that were not run from runs that were made (pure: from run directories alone).

    demand = read_demand("runs/x", scenario, history)      # recorded.py; raises InsufficientDataError
    setting = measured_setting(demand)                     # setting.py; replace(setting, customers=800, ...)
    found = predict(demand, setting)                       # queueing.py: Prediction, with 80 % intervals
    found.pools["replica"].in_use_max.low                  # interval.py: Estimate(value, low, high)

The demand of scraped metrics is `scraped_demand` (scraped.py); several runs are `joined` (growth.py).

`Demand` is what the customers ask of each process: requests by endpoint, the check-outs of each request, and
how long they hold a connection. `Setting` is what the operator chooses: pool size, overflow, time-out,
threads, processes, instances, customers. A `Prediction` is of one process's pools; `beyond` says why its
figures may not hold (a CPU that would be near its limit), and is empty where they do.
"""
