"""What people do. Every scenario makes its own users and rooms, so none depends on another."""
