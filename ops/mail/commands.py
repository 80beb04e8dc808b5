"""The commands of ``ops mail``, each from the file that does it."""

from ops.command import Group

MAIL = Group("mail", "look after mail: accounts, single mails, suppression, bounces", ())
