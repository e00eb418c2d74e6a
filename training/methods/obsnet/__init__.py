"""ObsNet (Besnier et al., ICCV 2021): an observer trained on local adversarial attacks."""
