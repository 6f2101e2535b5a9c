//! Who may connect and from which page.
