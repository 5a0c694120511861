-- A routing rule, as a PACS has it: a CT series that is complete goes to ICHD, by whatever door it came. A series, not
-- each instance: it is one association then, whose release tells ICHD that no more of it comes. What ICHD sends back are
-- reports (SR, KO, OT), so that nothing runs in a circle.
function OnStableSeries(seriesId, tags, metadata)
   if tags['Modality'] == 'CT' then
      SendToModality(seriesId, 'ichd')
   end
end
