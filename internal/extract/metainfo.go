package extract

import "agentassist-poller/internal/events"

// metaInfo reads what the automation left on a session. It may hold anything, so that unknown members are no drift: the
// whole is kept as JSON beside the members that are known. What it says of the customer goes to s.
func (d *decoder) metaInfo(s *session) (*events.ConversationMeta, *string) {
	m := new(events.ConversationMeta)
	if d.kind() != '{' {
		return nil, d.raw()
	}
	start := d.next()
	if !d.object("metaInfo", func(name string) {
		switch name {
		case "_id":
			m.ID = d.text()
		case "userId":
			m.UserID = d.text()
		case "orgId":
			m.OrgID = d.text()
		case "firstName":
			m.FirstName = d.text()
		case "lastName":
			m.LastName = d.text()
		case "fullName":
			m.FullName = d.text()
		case "email":
			m.Email = d.text()
		case "to":
			m.To = d.textOrJSON()
		case "phoneNumber":
			m.PhoneNumber = d.text()
		case "countryCode":
			m.CountryCode = d.text()
		case "endUserNumber":
			m.EndUserNumber = d.text()
		case "caller":
			m.Caller = d.text()
		case "callee":
			m.Callee = d.text()
		case "callerHost":
			m.CallerHost = d.text()
		case "dialedNumber":
			m.DialedNumber = d.text()
		case "ipAddress":
			m.IPAddress = d.text()
		case "hostDomain":
			m.HostDomain = d.text()
		case "os":
			m.OS = d.text()
		case "category":
			m.Category = d.text()
		case "profImage":
			m.ProfImage = d.text()
		case "profColour":
			m.ProfColour = d.text()
		case "jTitle":
			m.JTitle = d.text()
		case "dept":
			m.Dept = d.text()
		case "activationStatus":
			m.ActivationStatus = d.text()
		case "workinghours":
			d.free(name, func(name string) {
				switch name {
				case "workdays":
					m.Workdays = d.text()
				case "workstart":
					m.Workstart = d.text()
				case "workend":
					m.Workend = d.text()
				default:
					d.skip()
				}
			})
		case "transcribeConfig":
			d.free(name, func(name string) {
				if name == "transcribe" {
					m.Transcribe = d.boolean()
				} else {
					d.skip()
				}
			})
		case "customData":
			d.free(name, func(name string) {
				switch name {
				case "isAgentAssistOnly":
					m.IsAgentAssistOnly = d.boolean()
				case "agentId":
					m.CustomAgentID = d.text()
				case "experience":
					m.CustomExperience = d.text()
				default:
					d.skip()
				}
			})
		case "identities":
			d.list(func() {
				var id events.ConversationIdentity
				if d.free("identities[]", func(name string) {
					switch name {
					case "val":
						id.Val = d.text()
					case "type":
						id.Type = d.text()
					default:
						d.skip()
					}
				}) {
					m.Identities = append(m.Identities, id)
				}
			})
		case "agentTransferConfig":
			d.free(name, func(name string) { d.transfer(name, m) })
		case "customerinfo", "customerInfo":
			if d.kind() == '{' {
				s.metaDirection, _ = d.customer(name, &s.fromMeta)
			} else {
				d.skip()
			}
		default:
			d.skip()
		}
	}) {
		return nil, nil
	}
	return m, d.canonical(start)
}

func (d *decoder) transfer(name string, m *events.ConversationMeta) {
	switch name {
	case "skillsIds":
		m.TransferSkillsIDs = d.textsOrJSON()
	case "overrideAgents":
		m.TransferOverrideAgents = d.boolean()
	case "overrideValues":
		m.TransferOverrideValues = d.textsOrJSON()
	case "lastIntentName":
		m.TransferLastIntentName = d.text()
	case "automationBotId":
		m.TransferAutomationBotID = d.text()
	case "noAgentsFlowId":
		m.TransferNoAgentsFlowID = d.text()
	case "accountId":
		m.TransferAccountID = d.text()
	case "assistEvents":
		d.free(name, func(name string) {
			if name != "startEvent" {
				d.skip()
				return
			}
			d.free(name, func(name string) {
				switch name {
				case "botId", "botID":
					m.TransferStartEventBotID = d.text()
				case "isEnabled":
					m.TransferStartEventIsEnabled = d.boolean()
				default:
					d.skip()
				}
			})
		})
	case "dialog_tone":
		d.list(func() {
			var tone events.ConversationTone
			if d.free("dialog_tone[]", func(name string) {
				switch name {
				case "tone_name":
					tone.ToneName = d.text()
				case "level":
					tone.Level = d.number()
				case "count":
					tone.Count = d.integer()
				case "totalLevel":
					tone.TotalLevel = d.number()
				default:
					d.skip()
				}
			}) {
				m.DialogTone = append(m.DialogTone, tone)
			}
		})
	default:
		d.skip()
	}
}

// free reads an object of metaInfo; anything else in its place is not worth a report.
func (d *decoder) free(at string, field func(name string)) bool {
	if d.kind() != '{' {
		d.skip()
		return false
	}
	return d.object(at, field)
}
