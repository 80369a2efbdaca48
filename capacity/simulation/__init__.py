"""A simulation of the autoscaler: arrivals, pods and the controller."""
