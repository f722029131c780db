"""The kernel that every room shares: the feed's model, names, formats, error metrics and the AWS client factory."""
