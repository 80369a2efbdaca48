"""The autoscaler replayed: arrivals, pods and the controller between them."""
