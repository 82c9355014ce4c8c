package koresim

var (
	firstNames = []string{"Ada", "Bruno", "Chidi", "Dana", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kaveh", "Lucía", "Mei", "Nour", "Olga", "Priya"}
	lastNames  = []string{"Abbott", "Bauer", "Castro", "Dube", "Eriksen", "Fischer", "Gupta", "Hoang", "Ito", "Jansen", "Kowalski", "Lindqvist"}
	queueNames = []string{"Default Queue", "Credit Cards", "Residential – Sales", "Tier 2", "Refunds"}
	phrases    = []string{
		"refund policy", "how do I cancel my account", "card blocked abroad", "late delivery", "change shipping address",
		"reset two-factor login", "invoice \"VAT\" number", "upgrade plan", "missing parcel", "¿dónde está mi pedido?",
		"warranty period\nfor batteries", "roaming charges",
	}
	utterances = []string{
		"Where is my order?", "I want my money back.", "My card was declined in Paris.", "Please cancel everything.",
		"I can't log in any more", "Can you change the address?", "Why was I charged twice?", "Das Paket ist beschädigt.",
		`{"type":"template","payload":{"template_type":"quick_replies","text":"Which TV would you like to buy ?"}}`,
	}
	answers = []string{
		"Refunds are made within 14 days of the return.", "The account can be closed under Settings > Account.",
		"The carrier delivers between 8:00 and 18:00.", "Please verify your identity with the code that we sent.",
		"Batteries are under warranty for two years.", "Roaming in the EU costs nothing extra.",
	}
	dialogNames  = []string{"Cancel Account", "Pay Bill", "Purchase TV", "Track Order", "Change Address"}
	connectors   = []string{"MSSharepoint", "ServiceNow", "Zendesk"}
	reasonCodes  = []string{"Wrong Intent", "Missed Context", "Inaccurate Content", "Too Lengthy", "Irrelevant Suggestion"}
	praise       = []string{"Correct Intent", "Helpful"}
	remarks      = []string{"", "not what was asked", "spot on", "took too long", "customer said \"no\"", "ok für den Anfang"}
	dispositions = []string{"Resolved", "DROP-OFF", "ESCALATED", "Requires Supervisor Attention", "Callback"}
	ruleNames    = []string{"Greeting Compliance", "Dead Air", "Negative Sentiment", "Hold Etiquette"}
	expressions  = []string{"positive", "neutral", "warning", "critical", "alert"}
	stepNames    = []string{"Greet the customer", "Verify identity", "Ask for the reason", "Offer a solution", "Confirm", "Say goodbye"}
	stageNames   = []string{"Open", "Diagnose", "Solve", "Close"}
	tagNames     = []string{"intent", "accountnum", "callerNumber", "mood", "product"}
	notes        = []string{"Customer asked for a refund.", "Explained the policy; customer agreed.", "Will call back tomorrow.", "El cliente quería transferir dinero."}
	surveys      = []string{"very friendly", "waited too long", "solved at once", "never again", "fine"}
	hangups      = []string{"Agent Closed", "User Hangup", "System Hangup", "Bot Hangup"}
)
